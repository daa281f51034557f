"""What a run looks like to people: curves of its intervals."""
