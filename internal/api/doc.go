// Package api is the platform's public face: the REST resources, their OpenAPI
// document, API keys and roles, and the mapping of every error to a
// problem+json answer. Handlers decode, make one call, encode; what they call
// is declared here as small interfaces.
//
// Three routes are plain gin handlers with a scanner of our own, because they
// carry the traffic: decisions, impressions and rewards. Everything else goes
// through huma, which derives the OpenAPI document from the types.
package api
