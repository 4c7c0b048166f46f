"""The NTP door: its loop, plain and in machine code, its workers, the accelerator below it, its self-probe."""
