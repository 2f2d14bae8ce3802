"""How applications use tcpcryptd."""
