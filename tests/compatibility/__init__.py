"""Tools that prove or break the schema checker: pairs with a known truth, generators, the scoring of other checkers."""
