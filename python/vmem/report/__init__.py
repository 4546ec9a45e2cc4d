"""What people read of a run: report.html and the tables of the command line."""
