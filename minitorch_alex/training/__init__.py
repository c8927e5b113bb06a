"""What the commands share and no user types: checkpoints, run directories, batches on a device,
weights of other programs, and the command line itself."""
