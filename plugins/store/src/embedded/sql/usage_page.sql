-- A part of a day's usage, behind a place in it.
SELECT credential, model, tenant, team, user, token, calls, input, output, cache_read, cache_write, reasoning, estimated,
    cost, unpriced, payer
FROM usage CROSS JOIN payers ON payers.id = usage.payer
WHERE day = ?1 AND (payer, credential, model) > (?2, ?3, ?4)
ORDER BY payer, credential, model
LIMIT ?5
