"""What folders and names of files mean: classes, splits, groups, masks; or why they tell none."""
