# Only with predict_private: train_trigger calls run.app through this network, so that Google treats the calls as internal.
locals {
  private = var.predict_private ? 1 : 0
}

resource "google_project_service" "private" {
  for_each = toset(var.predict_private ? ["compute.googleapis.com", "dns.googleapis.com"] : [])

  project            = var.project
  service            = each.value
  disable_on_destroy = false
}

resource "google_compute_network" "private" {
  count = local.private

  name                    = var.name
  auto_create_subnetworks = false

  depends_on = [google_project_service.private]
}

resource "google_compute_subnetwork" "private" {
  count = local.private

  name                     = var.name
  region                   = var.region
  network                  = google_compute_network.private[0].id
  ip_cidr_range            = "10.8.0.0/26" # the smallest that Cloud Run accepts; nothing else is in this network
  private_ip_google_access = true
}

# private.googleapis.com: https://cloud.google.com/vpc/docs/configure-private-google-access
resource "google_dns_managed_zone" "run" {
  count = local.private

  name        = "${var.name}-run"
  dns_name    = "run.app."
  description = "Cloud Run by way of private.googleapis.com"
  visibility  = "private"

  private_visibility_config {
    networks {
      network_url = google_compute_network.private[0].id
    }
  }
}

resource "google_dns_record_set" "run" {
  count = local.private

  managed_zone = google_dns_managed_zone.run[0].name
  name         = "*.run.app."
  type         = "A"
  ttl          = 300
  rrdatas      = ["199.36.153.8", "199.36.153.9", "199.36.153.10", "199.36.153.11"]
}
