"""Every platform with every bundle, from the registries to the answers."""
