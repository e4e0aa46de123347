"""The kinds that are not policies, one folder each: schema, rules and the facts other code asks of them."""
