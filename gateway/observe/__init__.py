"""What the gateway tells about itself: metrics, logs, health."""
