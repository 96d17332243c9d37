#ifndef POSTERN_ROLES_SIGN_H
#define POSTERN_ROLES_SIGN_H

/*
 * What an edge may ask of a private key it does not have (ipc.table: sign). There is no way to
 * decrypt. A PSS block is made by the edge (OpenSSL's RSA method has no other shape); the keeper
 * signs it only where it has the form of RFC 8017 §9.1.1, which no ciphertext has.
 */
enum sign_algorithm {
    SIGN_RSA_PKCS1_SHA256, /* digest */
    SIGN_RSA_PKCS1_SHA384,
    SIGN_RSA_PKCS1_SHA512,
    SIGN_RSA_PSS_BLOCK, /* the encoded message, as long as the modulus */
    SIGN_ECDSA,         /* digest; the signature is DER */
    SIGN_ALGORITHMS
};

enum { SIGN_DIGEST_MAX = 1024, SIGN_SIGNATURE_MAX = 1024 };

#endif
