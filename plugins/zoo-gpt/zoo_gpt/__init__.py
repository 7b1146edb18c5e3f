"""GPT-1, GPT-2, GPT-3 shapes, Llama and Qwen for the zoo of generative models."""
