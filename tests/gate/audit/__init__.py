"""Tests of the membership audit."""
