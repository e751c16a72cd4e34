"""Anthropic's messages: ingress and egress."""
