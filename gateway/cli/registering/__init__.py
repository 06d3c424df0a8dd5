"""What `maas model register` reads: a model's folder, the file that describes it, its configuration and its graphs."""
