"""The version, where the build can read it without importing anything heavy."""

version = "0.1.0"
