"""OpenAI's responses: ingress and egress, stateless."""
