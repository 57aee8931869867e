-- What of a day's usage changed after a journal, behind a place in it.
SELECT credential, model, tenant, team, user, token, calls, input, output, cache_read, cache_write, reasoning, estimated,
    cost, unpriced, payer, changed
FROM usage CROSS JOIN payers ON payers.id = usage.payer
WHERE day = ?1 AND (changed, payer, credential, model) > (?2, ?3, ?4, ?5)
ORDER BY changed, payer, credential, model
LIMIT ?6
