"""What people look at: one HTML page of a run or a sweep, explanations as pictures, near duplicates side by side."""
