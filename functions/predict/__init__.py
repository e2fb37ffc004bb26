"""The backend URL of Label Studio: stateless predictions from the version that the pointer names."""
