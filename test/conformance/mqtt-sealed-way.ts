/** Sealed links over MQTT as a way in. */
import { linkWay } from "./link-way.ts";
import { MqttLinkClient } from "./mqtt-link-client.ts";

export const mqttSealed = linkWay("MQTT, CIB1 on topics", ({ mqttPort }, key) => MqttLinkClient.open(mqttPort, key));
