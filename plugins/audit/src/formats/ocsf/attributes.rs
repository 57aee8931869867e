//! The attributes of the schema that are filled, by their names there.

use serde::Serialize;

use crate::formats::Native;

/// Makes structs of attributes that are always there, and of such that there may be.
macro_rules! attributes {
    ($( #[doc = $what:literal] $type:ident {
        $($always:ident: $value:ty,)* $(; $($maybe:ident: $optional:ty,)*)?
    } )*) => { $(
        #[doc = $what]
        #[derive(Default, Serialize)]
        pub(super) struct $type {
            $( pub(super) $always: $value, )*
            $($(
                #[serde(skip_serializing_if = "Option::is_none")]
                pub(super) $maybe: Option<$optional>,
            )*)?
        }
    )* };
}

attributes! {
    /// An event of any class.
    Event {
        activity_id: u32, activity_name: &'static str, category_uid: u32, class_uid: u32,
        class_name: &'static str, type_uid: u32, severity_id: u32, severity: &'static str,
        status_id: u32, status: &'static str, time: i64, message: String, metadata: Metadata,
        unmapped: Native,
        ;
        status_code: String, status_detail: String, duration: u64, actor: Actor, user: User,
        src_endpoint: Endpoint, http_request: HttpRequest, http_response: Code, api: Api,
        ai_model: AiModel, message_context: MessageContext, resources: [Resource; 1], trace: Trace,
        service: Name, is_remote: bool, privileges: [String; 1], entity: Entity, app: Product,
    }
    /// Which event it is, and where it is from.
    Metadata {
        version: &'static str, product: Product, profiles: &'static [&'static str], uid: String,
        log_name: &'static str,
        ;
        sequence: u64, original_time: String, event_code: String, correlation_uid: String,
        tenant_uid: String, log_version: String, reporter: Reporter,
    }
    /// This program.
    Product { name: &'static str, vendor_name: &'static str, version: &'static str, }
    /// The replica.
    Reporter { name: &'static str, hostname: String, }
    /// Who did it.
    Actor { user: User, }
    /// A person, or a program with a key.
    User {
        ;
        name: String, uid: String, email_addr: String, domain: String, org: Name,
        credential_uid: String, type_id: u32,
    }
    /// Whatever has a name and no more.
    Name { name: String, }
    /// Where a call came from.
    Endpoint { ; ip: String, name: &'static str, }
    /// What was asked for over HTTP.
    HttpRequest { user_agent: String, }
    /// What was answered over HTTP.
    Code { code: u64, }
    /// What was asked for.
    Api { operation: String, ; request: ApiRequest, response: ApiResponse, service: Name, }
    /// The request.
    ApiRequest { uid: String, }
    /// The answer.
    ApiResponse { code: u64, ; error: String, }
    /// The model that served, or was asked for.
    AiModel { name: String, ai_provider: String, }
    /// What the call used.
    MessageContext {
        uid: String, service: Name, ai_role_id: u32, ai_role: &'static str,
        ;
        prompt_tokens: u64, completion_tokens: u64, total_tokens: u64,
    }
    /// What the call was made with.
    Resource { uid: String, r#type: &'static str, }
    /// The trace that it is part of.
    Trace { uid: String, }
    /// What was changed.
    Entity { uid: String, r#type: &'static str, }
}

impl User {
    pub(super) fn named(name: String) -> Self {
        Self {
            name: Some(name),
            ..Self::default()
        }
    }
}
