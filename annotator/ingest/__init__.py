"""From a folder of photos to stored images, features, thumbnails and detections."""
