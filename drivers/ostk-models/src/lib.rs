//! Language model providers: Anthropic and OpenAI wires.
