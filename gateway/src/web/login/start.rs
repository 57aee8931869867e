//! A login begins: by which provider, and off to it.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use turnpike_identity::sso::{Errand, Pending, Provider};

use super::desk::Desk;
use super::form::Form;
use super::page::see_other;
use super::pages::{self, Choice, ChooserPage};
use super::problem::Problem;
use super::{device, operator};

/// `GET /auth/login`: the choice, where there is one.
pub(super) async fn choose(desk: Desk, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let query = Form::read(query.unwrap_or_default().as_bytes());
    let token = query.get("token");
    let link = desk.sso.links.read(token, desk.now);
    let carried = match (&link, device::asked(&query), operator::asked(&query)) {
        (Some(_), ..) => Some(format!("token={token}")),
        (None, Some(code), _) => Some(device::asking(&code)),
        (None, None, Some(challenge)) => Some(operator::asking(&challenge)),
        (None, None, None) => None,
    };
    let choices: Vec<Choice> = desk
        .sso
        .providers
        .iter()
        .map(|provider| Choice {
            label: provider.label.clone(),
            url: match &carried {
                None => format!("/auth/login/{}", provider.name),
                Some(carried) => format!("/auth/login/{}?{carried}", provider.name),
            },
        })
        .collect();
    if desk.as_json {
        let named = desk.sso.providers.iter().zip(&choices);
        let named = named.map(|(provider, choice)| {
            json!({
                "name": provider.name,
                "label": choice.label,
                "url": format!("{}{}", desk.site.public_url, choice.url),
            })
        });
        return Ok(axum::Json(json!({ "providers": named.collect::<Vec<_>>() })).into_response());
    }
    match &choices[..] {
        [only] => Ok(see_other(&only.url)),
        _ => Ok(pages::html(&ChooserPage {
            renews: link.is_some_and(|link| link.renews.is_some()),
            for_device: device::asked(&query).is_some(),
            choices: &choices,
        })),
    }
}

/// `GET /auth/login/{provider}`: off to it.
pub(super) async fn begin(
    mut desk: Desk,
    name: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let Ok(Path(name)) = name else {
        return Err(Problem::unknown_provider(""));
    };
    let sso = desk.sso.clone();
    let provider = sso.provider(&name);
    let provider: &Provider = provider.ok_or_else(|| Problem::unknown_provider(&name))?;
    let browser = desk.name_browser()?;
    desk.count(&browser).await?;
    let query = Form::read(query.unwrap_or_default().as_bytes());
    let token = Some(query.get("token")).filter(|token| sso.links.read(token, desk.now).is_some());
    let pending = Pending {
        provider: name.clone(),
        tenant: desk.tenant.name().map(str::to_owned),
        browser,
        errand: Errand {
            link: token.map(str::to_owned),
            device: device::asked(&query),
            operator: operator::asked(&query),
        },
    };
    let failed = |error| Problem::of_login(error, &name, &desk.site.redirect_uri);
    let state = pending.note(desk.store()).await.map_err(failed)?;
    let clock = &desk.runtime.board.time;
    let url = provider
        .begin(
            (&state, &desk.site.redirect_uri),
            &sso.seals,
            &*sso.outside,
            clock,
        )
        .await;
    let mut response = see_other(url.map_err(failed)?.as_str());
    desk.keep_browser(&mut response);
    Ok(response)
}
