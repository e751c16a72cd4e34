"""Google's Gemini API: ingress and egress."""
