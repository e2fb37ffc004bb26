"""What labelloop keeps in the object store: projects, claims, runs, versions and their pointers."""
