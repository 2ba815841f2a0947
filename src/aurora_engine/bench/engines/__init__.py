"""The engines, each behind the interface of `base`; `registry` names them."""
