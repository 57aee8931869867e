-- For inspection: the records of a kind, column by column. Times are milliseconds since 1970.
CREATE VIEW agent_tokens AS
SELECT
    key                                                       AS id,
    json_extract(CAST(value AS TEXT), '$.name')               AS name,
    json_extract(CAST(value AS TEXT), '$.hash')               AS hash,
    json_extract(CAST(value AS TEXT), '$.owner.issuer')       AS owner_issuer,
    json_extract(CAST(value AS TEXT), '$.owner.subject')      AS owner_subject,
    json_extract(CAST(value AS TEXT), '$.owner.email')        AS owner_email,
    json_extract(CAST(value AS TEXT), '$.created_at')         AS created_at,
    json_extract(CAST(value AS TEXT), '$.auth_expires_at')    AS auth_expires_at,
    json_extract(CAST(value AS TEXT), '$.ends_at')            AS ends_at,
    json_extract(CAST(value AS TEXT), '$.rotated_to')         AS rotated_to,
    json_extract(CAST(value AS TEXT), '$.revoked_at')         AS revoked_at
FROM records
WHERE kind = 'agent_token';
