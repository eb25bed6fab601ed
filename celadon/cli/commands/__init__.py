"""The commands as a person types them: names, options, help. What a command needs is loaded when it runs."""
