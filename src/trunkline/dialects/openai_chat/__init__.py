"""OpenAI's chat completions, as most of the field speaks it: ingress and egress."""
