"""A latent diffusion model as an encoder: first stage, denoiser, condition, and features of one noised pass."""
