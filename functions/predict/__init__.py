"""The function behind Label Studio's backend URL: predictions by the version that the pointer names. Stateless."""
