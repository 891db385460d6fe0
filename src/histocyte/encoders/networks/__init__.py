"""Encoders as networks: timm's, SAM's, HoVer-Net's and a plain one."""
