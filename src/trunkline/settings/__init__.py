"""What the operator wrote: environment, `.env` and `trunkline.toml`, as frozen values.

Precedence: flag > environment > `.env` in the working directory > `trunkline.toml` > default. An empty value, and the
placeholder of `.env.example`, count as unset. All mistakes are reported together.
"""
