"""What every door has: a process, rules, counters, a gate before it and a watch over it; and the sock door."""
