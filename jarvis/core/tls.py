"""Cipher suites that TLS servers offer."""

from __future__ import annotations

# Suites of TLS 1.2, by their names in RFC 5289 and RFC 7905: forward secrecy and authenticated encryption, as
# all of TLS 1.3 have. HTTP/2 requires the first two (RFC 9113, section 9.2.2).
CIPHER_SUITES = (
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
)
# The same by OpenSSL's names, which Erlang uses too.
OPENSSL_SUITES = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
)
# The form of HAProxy, MariaDB and Galera.
OPENSSL_CIPHERS = ":".join(OPENSSL_SUITES)
