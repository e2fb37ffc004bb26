"""The training job: export, dataset, fine-tuning, gate, publish, promote, release."""
