"""From images in folders, archives and lists to record files."""
