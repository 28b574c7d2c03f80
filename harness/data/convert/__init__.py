"""What people drew with other programs, as one COCO annotation file."""
