"""The ingest of photos: images, features, thumbnails, detections, and pictures for the page."""
