"""The training loop: fine-tuning on corrections, the promotion test, the live model."""
