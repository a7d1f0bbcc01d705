"""Write a trained model as files that run without altuna."""
