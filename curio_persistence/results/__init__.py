"""What a question answers with, in the forms that people use."""
