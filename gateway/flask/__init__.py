"""What the gateway knows of Flask: its routes, and its own locks inside the legacy app."""
