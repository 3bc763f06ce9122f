"""Histories from elsewhere, taken over turn by turn: one module a source, one for all the rest."""
