"""One module per verb of ``kumactl``, imported only when its verb is used."""
