"""AWS's languages: shapes and signatures, not meaning."""
