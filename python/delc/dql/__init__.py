"""DQL, the model query language: search, cut, build and try models in one language (docs/dql.md)."""
