"""ViLaM: one vision-language model that finds regions from words and describes regions in words."""
