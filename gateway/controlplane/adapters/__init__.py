"""How aliases are called by way of the OpenAI API."""
